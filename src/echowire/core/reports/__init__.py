"""What `-z` and exports give: reports made of all packets of a capture."""

"""What moves bytes: ways to serve (`serving/`), to load (`load/`) and to probe (`probing/`)."""

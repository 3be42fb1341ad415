"""Pure analysis: an error and what this host knows, in; what it means and what to do, out."""

"""Why a call failed: facts of this host in, what the error means and what to do out."""

"""One file a verb: the same word as the command, the function in the public names, and the page of the manual."""

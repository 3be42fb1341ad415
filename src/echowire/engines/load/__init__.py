"""The measuring client of `bench`: ways to load an endpoint; `run` takes the leanest for what is asked."""

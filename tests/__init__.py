"""The tests. A package in the full sense, since a dev dependency brings another folder `tests` into the environment."""

"""Studies that are shipped, as TOML files, and an example for a cluster."""

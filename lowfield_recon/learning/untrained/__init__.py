"""Networks that are fitted to one measurement: what `dip`, `ngr` and `mg-spair` share."""

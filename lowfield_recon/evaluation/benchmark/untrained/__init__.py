"""`benchmark untrained` and `benchmark untrained-quality`: dip, ngr and mg-spair."""

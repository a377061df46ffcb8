"""Real scans that ship with the package; `lowfield_recon.resources.sample_path` finds them."""

"""The command line `lowfield-recon`: one thin module per command."""

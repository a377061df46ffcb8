"""Convolutional dictionaries: the record, the shipped bank, loading by name or path."""

from lowfield_recon.dictionaries.bank import DictionaryBank
from lowfield_recon.dictionaries.cosine import cosine_dictionary
from lowfield_recon.dictionaries.loading import load_dictionary
from lowfield_recon.dictionaries.record import Dictionary, check_fits

__all__ = ["Dictionary", "DictionaryBank", "check_fits", "cosine_dictionary", "load_dictionary"]

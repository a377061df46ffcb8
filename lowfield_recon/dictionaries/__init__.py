"""Convolutional dictionaries: the record, the shipped bank, loading by name or path."""

from lowfield_recon.dictionaries.bank import DictionaryBank, load_dictionary
from lowfield_recon.dictionaries.cosine import cosine_dictionary
from lowfield_recon.dictionaries.record import Dictionary

__all__ = ["Dictionary", "DictionaryBank", "cosine_dictionary", "load_dictionary"]

"""Data sets: their manifests, fetching them, and checking that they arrived whole."""

from lowfield_recon.data.archives import unpack
from lowfield_recon.data.fetching import FetchedFile, fetch_dataset
from lowfield_recon.data.locations import data_root, dataset_folder
from lowfield_recon.data.manifests import DataFile, DataManifest, load_manifest, manifest_names
from lowfield_recon.data.splits import split_files, split_of, subject_of
from lowfield_recon.data.transfer import Patience, download
from lowfield_recon.data.verifying import FileCheck, verify_dataset

__all__ = [
    "DataFile",
    "DataManifest",
    "FetchedFile",
    "FileCheck",
    "Patience",
    "data_root",
    "dataset_folder",
    "download",
    "fetch_dataset",
    "load_manifest",
    "manifest_names",
    "split_files",
    "split_of",
    "subject_of",
    "unpack",
    "verify_dataset",
]

"""Packages of the distribution: setup.cfg cannot add a folder to those that are found."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["ftkit*"]), "ftkit.samples"],
    package_dir={"ftkit.samples": "samples"},
)

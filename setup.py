"""Packages and extension of the distribution: setup.cfg cannot add a folder to those found."""

from setuptools import Extension, find_packages, setup

setup(
    packages=[*find_packages(include=["ftkit*"]), "ftkit.samples"],
    package_dir={"ftkit.samples": "samples"},
    # One wheel for all Pythons. Without a C compiler, ftkit is installed without the extension.
    ext_modules=[
        Extension(
            "ftkit.dataset._plain",
            ["ftkit/dataset/_plain.c"],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

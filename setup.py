"""Packages and extensions of the distribution."""

import sysconfig

from setuptools import Extension, find_packages, setup

# The limited API gives one wheel for CPython 3.11 and later, but for free-threaded builds.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    # setup.cfg cannot add a folder to the packages that it finds.
    packages=[*find_packages(include=["ftkit*"]), "ftkit.samples"],
    package_dir={"ftkit.samples": "samples"},
    ext_modules=[
        Extension(
            name.replace("/", "."),
            [f"{name}.c"],
            depends=headers,
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED else [],
            py_limited_api=LIMITED,
            optional=True,  # without a C compiler, ftkit is installed without the extensions
        )
        for name, headers in (
            ("ftkit/dataset/_plain", []),
            ("ftkit/tokens/_pairs", ["ftkit/tokens/_classes.h"]),
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)

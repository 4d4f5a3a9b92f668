"""The names of the package, and where public classes say they are from."""

import importlib.metadata
import pickle
import pkgutil

import numpy as np
import pytest
import tensorferry


def test_only_public_names_submodules_and_dunders_are_in_the_package():
    submodules = {module.name for module in pkgutil.iter_modules(tensorferry.__path__)}
    dunders = {name for name in dir(tensorferry) if name.startswith("__") and name.endswith("__")}
    assert set(dir(tensorferry)) <= set(tensorferry.__all__) | submodules | dunders
    assert set(tensorferry.__all__) <= set(dir(tensorferry))


def test_the_version_is_that_of_the_installed_package():
    assert tensorferry.__version__ == importlib.metadata.version("tensorferry")


@pytest.mark.parametrize(
    "name", [name for name in tensorferry.__all__ if isinstance(getattr(tensorferry, name), type)]
)
def test_a_public_class_is_found_under_the_name_that_it_states(name):
    kind = getattr(tensorferry, name)
    assert kind.__module__ in {"tensorferry", "tensorferry.dataset", "tensorferry.errors"}
    assert pickle.loads(pickle.dumps(kind)) is kind


def test_specifications_and_options_travel_by_pickle():
    spec = tensorferry.DatasetSpec((tensorferry.TensorSpec((None, 3), np.float32), None))
    options = tensorferry.Options(threads=2)
    assert pickle.loads(pickle.dumps((spec, options))) == (spec, options)

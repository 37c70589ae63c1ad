"""Everything offered has the names, parameters and defaults that the installed Captum gives it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import captum
import captum.attr as theirs
import pytest
from torch import nn

import enodo.captum
import enodo.captum.attr as ours

# Not among Captum's public names; the base classes are imported from the modules that hold them.
INTERNAL = {"InternalAttribution": "captum.attr._utils.attribution", "Stat": "captum.attr._utils.stat"}
CLASSES = [name for name in ours.__all__ if inspect.isclass(getattr(ours, name))]
FUNCTIONS = [name for name in ours.__all__ if inspect.isfunction(getattr(ours, name))]
AROUND = ("DataLoaderAttribution", "NoiseTunnel")  # are made of another method
METHODS = [name for name in CLASSES if issubclass(getattr(ours, name), ours.Attribution) and name not in AROUND]
# Inner steps of Captum's computation, public by their name.
STEPS = {
    "LayerGradientXActivation.multiply_gradient_acts",
    "DeepLift.satisfies_attribute_criteria",
    "DeepLiftShap.satisfies_attribute_criteria",
    "LayerDeepLift.satisfies_attribute_criteria",
    "LayerDeepLiftShap.satisfies_attribute_criteria",
    "KernelShap.kernel_shap_perturb_generator",
    "KernelShap.kernel_shap_similarity_kernel",
}
ARGUMENTS = {"LimeBase": (None, None, None, True, abs, None)}  # that a class cannot be made without
DUNDERS = {"__init__", "__call__", "__eq__", "__hash__"}


def counterpart(name: str) -> Any:
    if name in INTERNAL:
        return getattr(__import__(INTERNAL[name], fromlist=[name]), name)
    return getattr(theirs, name)


def form(fn: Any) -> list[tuple[str, Any, Any]]:
    """Names, kinds and defaults; a function that is a default by its name."""
    found = inspect.signature(fn).parameters.values()
    return [(p.name, p.kind, p.default.__name__ if inspect.isfunction(p.default) else p.default) for p in found]


def members(cls: type) -> Iterator[str]:
    """Methods and properties, own or inherited, that are not private and come from the library itself."""
    for name in dir(cls):
        owner = next((c for c in cls.__mro__ if name in vars(c)), None)
        inside = owner is not None and owner.__module__.startswith(("captum", "enodo"))
        offered = name in DUNDERS or not name.startswith("_")
        if inside and offered and f"{cls.__name__}.{name}" not in STEPS:
            yield name


@pytest.mark.parametrize("name", CLASSES)
def test_every_method_of_every_class_has_captums_signature(name: str) -> None:
    mine, reference = getattr(ours, name), counterpart(name)
    for member in members(reference):
        a, b = inspect.getattr_static(mine, member, None), inspect.getattr_static(reference, member)
        if callable(getattr(b, "__func__", b)):
            assert a is not None, f"{name}.{member} is missing"
            assert type(a) is type(b), f"{name}.{member}"
            assert form(getattr(a, "__func__", a)) == form(getattr(b, "__func__", b)), f"{name}.{member}"
        else:
            assert isinstance(a, property) == isinstance(b, property), f"{name}.{member}"


@pytest.mark.parametrize("name", CLASSES)
def test_classes_derive_from_the_same_bases(name: str) -> None:
    mine, reference = getattr(ours, name), counterpart(name)
    known = {c.__name__ for c in map(counterpart, CLASSES)}
    expected = {c.__name__ for c in reference.__mro__} & known
    assert expected <= {c.__name__ for c in mine.__mro__}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_captums_signature(name: str) -> None:
    assert form(getattr(ours, name)) == form(counterpart(name))


def test_every_public_name_is_one_of_captums() -> None:
    assert set(ours.__all__) - set(INTERNAL) <= set(theirs.__all__)
    assert enodo.captum.__version__ == captum.__version__


@pytest.mark.parametrize("name", [*METHODS, "NoiseTunnel"])
def test_names_in_words_are_captums(name: str) -> None:
    assert getattr(ours, name).get_name() == counterpart(name).get_name()


@pytest.mark.parametrize("name", METHODS)
def test_what_a_class_says_about_itself_is_what_captum_says(name: str) -> None:
    """`multiplies_by_inputs` and `has_convergence_delta`, by default and without the product."""
    mine, reference = getattr(ours, name), counterpart(name)
    needs_layer = "layer" in inspect.signature(mine).parameters
    options = [{}] + [{"multiply_by_inputs": False}] * ("multiply_by_inputs" in inspect.signature(mine).parameters)
    for keywords in options:
        args = (nn.Identity(), *([None] if needs_layer else []), *ARGUMENTS.get(name, ()))
        a, b = mine(*args, **keywords), reference(*args, **keywords)
        assert (a.multiplies_by_inputs, a.has_convergence_delta()) == (
            b.multiplies_by_inputs,
            b.has_convergence_delta(),
        )
        tunnels = ours.NoiseTunnel(a), theirs.NoiseTunnel(b)
        assert len({(t.multiplies_by_inputs, t.has_convergence_delta()) for t in tunnels}) == 1


def test_futures_are_refused_as_captum_refuses_them() -> None:
    for attr in (ours, theirs):
        with pytest.raises(NotImplementedError):
            attr.IntegratedGradients(abs).attribute_future()


def test_a_planted_difference_is_seen() -> None:
    def attribute(self: Any, inputs: Any, target: Any = 0) -> None: ...

    assert form(attribute) != form(theirs.Saliency.attribute)


@pytest.mark.parametrize("name", CLASSES)
def test_it_is_found_where_captum_has_it(name: str) -> None:
    where = getattr(theirs, name, None) or getattr(importlib.import_module(INTERNAL[name]), name)
    assert getattr(importlib.import_module(f"enodo.{where.__module__}"), name) is getattr(ours, name)

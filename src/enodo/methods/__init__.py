"""The methods, each a function of a Question; importing this package registers them."""

from .activation import activation
from .backprop import deconvolution, guided_backprop
from .conductance import conductance, internal_influence, neuron_conductance
from .deeplift import deeplift
from .gradient import gradient, gradient_x_activation, input_x_gradient
from .gradient_shap import gradient_shap
from .integrated_gradients import integrated_gradients
from .lrp import lrp
from .smooth import smoothgrad, smoothgrad_sq, vargrad

__all__ = [
    "activation",
    "conductance",
    "deconvolution",
    "deeplift",
    "gradient",
    "gradient_shap",
    "gradient_x_activation",
    "guided_backprop",
    "input_x_gradient",
    "integrated_gradients",
    "internal_influence",
    "lrp",
    "neuron_conductance",
    "smoothgrad",
    "smoothgrad_sq",
    "vargrad",
]

"""The methods, each a function of a Question; importing this package registers them."""

from .ablation import feature_ablation, k_out, occlusion
from .activation import activation
from .attention import attention_rollout, gradient_rollout, raw_attention
from .backprop import deconvolution, guided_backprop
from .blur_ig import blur_ig
from .cam import grad_cam, grad_cam_plus_plus, guided_grad_cam, hires_cam, layer_cam, xgrad_cam
from .conductance import conductance, internal_influence, neuron_conductance
from .deeplift import deeplift, deeplift_shap
from .eigen_cam import eigen_cam, eigen_grad_cam
from .finer_cam import finer_cam
from .full_grad import full_grad
from .gradient import gradient, gradient_x_activation, input_x_gradient
from .gradient_shap import gradient_shap
from .guided_ig import guided_ig
from .idgi import idgi
from .integrated_gradients import integrated_gradients
from .learnt_mask import extremal_perturbation, meaningful_perturbation
from .lrp import lrp
from .masked_cam import ablation_cam, score_cam
from .masking import rise, sobol
from .permutation import feature_permutation
from .shapley import banzhaf, exact_shapley, kernel_shap, owen, shapley_interactions, shapley_sampling
from .smooth import smoothgrad, smoothgrad_sq, vargrad
from .surrogate import lime

__all__ = [
    "ablation_cam",
    "activation",
    "attention_rollout",
    "banzhaf",
    "blur_ig",
    "conductance",
    "deconvolution",
    "deeplift",
    "deeplift_shap",
    "eigen_cam",
    "eigen_grad_cam",
    "exact_shapley",
    "extremal_perturbation",
    "feature_ablation",
    "feature_permutation",
    "finer_cam",
    "full_grad",
    "grad_cam",
    "grad_cam_plus_plus",
    "gradient",
    "gradient_rollout",
    "gradient_shap",
    "gradient_x_activation",
    "guided_backprop",
    "guided_grad_cam",
    "guided_ig",
    "hires_cam",
    "idgi",
    "input_x_gradient",
    "integrated_gradients",
    "internal_influence",
    "k_out",
    "kernel_shap",
    "layer_cam",
    "lime",
    "lrp",
    "meaningful_perturbation",
    "neuron_conductance",
    "occlusion",
    "owen",
    "raw_attention",
    "rise",
    "score_cam",
    "shapley_interactions",
    "shapley_sampling",
    "smoothgrad",
    "smoothgrad_sq",
    "sobol",
    "vargrad",
    "xgrad_cam",
]

"""The methods, also under the paths that Captum has each class at: here a module holds several."""

import sys

from enodo.captum.attr._core import ablation, deep_lift, inputs, layer, lrp, neuron, rules

_PATHS = {
    ablation: "feature_ablation feature_permutation occlusion layer.layer_feature_ablation"
    " layer.layer_feature_permutation neuron.neuron_feature_ablation",
    deep_lift: "layer.layer_deep_lift neuron.neuron_deep_lift",
    inputs: "gradient_shap input_x_gradient integrated_gradients saliency",
    layer: "layer.internal_influence layer.layer_activation layer.layer_conductance layer.layer_gradient_shap"
    " layer.layer_gradient_x_activation layer.layer_integrated_gradients",
    lrp: "layer.layer_lrp",
    neuron: "neuron.neuron_conductance neuron.neuron_gradient neuron.neuron_gradient_shap"
    " neuron.neuron_integrated_gradients",
    rules: "guided_backprop_deconvnet guided_grad_cam layer.grad_cam neuron.neuron_guided_backprop_deconvnet",
}

for _home, _names in _PATHS.items():
    for _path in _names.split():
        _parent, _, _leaf = f"{__name__}.{_path}".rpartition(".")
        sys.modules[f"{_parent}.{_leaf}"] = _home
        setattr(sys.modules[_parent], _leaf, _home)

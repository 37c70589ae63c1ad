"""Captum's attribution classes and what belongs to them, under their own names."""

from enodo.captum.attr._core.ablation import (
    FeatureAblation,
    FeaturePermutation,
    LayerFeatureAblation,
    LayerFeaturePermutation,
    NeuronFeatureAblation,
    Occlusion,
)
from enodo.captum.attr._core.dataloader_attr import DataLoaderAttribution
from enodo.captum.attr._core.deep_lift import (
    DeepLift,
    DeepLiftShap,
    LayerDeepLift,
    LayerDeepLiftShap,
    NeuronDeepLift,
    NeuronDeepLiftShap,
)
from enodo.captum.attr._core.inputs import GradientShap, InputXGradient, IntegratedGradients, Saliency
from enodo.captum.attr._core.kernel_shap import KernelShap
from enodo.captum.attr._core.layer import (
    InternalInfluence,
    LayerActivation,
    LayerConductance,
    LayerGradientShap,
    LayerGradientXActivation,
    LayerIntegratedGradients,
)
from enodo.captum.attr._core.lime import Lime, LimeBase
from enodo.captum.attr._core.lrp import LRP, LayerLRP
from enodo.captum.attr._core.neuron import (
    NeuronConductance,
    NeuronGradient,
    NeuronGradientShap,
    NeuronIntegratedGradients,
)
from enodo.captum.attr._core.noise_tunnel import NoiseTunnel
from enodo.captum.attr._core.rules import (
    Deconvolution,
    GuidedBackprop,
    GuidedGradCam,
    LayerGradCam,
    NeuronDeconvolution,
    NeuronGuidedBackprop,
)
from enodo.captum.attr._core.shapley_value import ShapleyValues, ShapleyValueSampling
from enodo.captum.attr._models.base import (
    InterpretableEmbeddingBase,
    TokenReferenceBase,
    configure_interpretable_embedding_layer,
    remove_interpretable_embedding_layer,
)
from enodo.captum.attr._utils import visualization
from enodo.captum.attr._utils.attribution import (
    Attribution,
    GradientAttribution,
    InternalAttribution,
    LayerAttribution,
    NeuronAttribution,
    PerturbationAttribution,
)
from enodo.captum.attr._utils.baselines import ProductBaselines
from enodo.captum.attr._utils.class_summarizer import ClassSummarizer
from enodo.captum.attr._utils.stat import MSE, CommonStats, Count, Max, Mean, Min, Stat, StatValue, StdDev, Sum, Var
from enodo.captum.attr._utils.summarizer import Summarizer, SummarizerSingleTensor

__all__ = [
    "LRP",
    "MSE",
    "Attribution",
    "ClassSummarizer",
    "CommonStats",
    "Count",
    "DataLoaderAttribution",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "FeatureAblation",
    "FeaturePermutation",
    "GradientAttribution",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCam",
    "InputXGradient",
    "IntegratedGradients",
    "InternalAttribution",
    "InternalInfluence",
    "InterpretableEmbeddingBase",
    "KernelShap",
    "LayerActivation",
    "LayerAttribution",
    "LayerConductance",
    "LayerDeepLift",
    "LayerDeepLiftShap",
    "LayerFeatureAblation",
    "LayerFeaturePermutation",
    "LayerGradCam",
    "LayerGradientShap",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "LayerLRP",
    "Lime",
    "LimeBase",
    "Max",
    "Mean",
    "Min",
    "NeuronAttribution",
    "NeuronConductance",
    "NeuronDeconvolution",
    "NeuronDeepLift",
    "NeuronDeepLiftShap",
    "NeuronFeatureAblation",
    "NeuronGradient",
    "NeuronGradientShap",
    "NeuronGuidedBackprop",
    "NeuronIntegratedGradients",
    "NoiseTunnel",
    "Occlusion",
    "PerturbationAttribution",
    "ProductBaselines",
    "Saliency",
    "ShapleyValueSampling",
    "ShapleyValues",
    "Stat",
    "StatValue",
    "StdDev",
    "Sum",
    "Summarizer",
    "SummarizerSingleTensor",
    "TokenReferenceBase",
    "Var",
    "configure_interpretable_embedding_layer",
    "remove_interpretable_embedding_layer",
    "visualization",
]

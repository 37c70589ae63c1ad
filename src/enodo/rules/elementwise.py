"""Functions of one number, applied to each entry."""

CUT = frozenset("relu relu6 hardtanh abs clamp clamp_min clamp_max".split())  # pieces with slopes 0, 1 and -1
KINKED = CUT | frozenset(
    (
        "leaky_relu prelu rrelu elu selu celu hardsigmoid hardswish hardshrink softshrink threshold sign sgn round"
        " floor ceil trunc frac remainder fmod floor_divide nan_to_num fake_quantize_per_tensor_affine"
        " fake_quantize_per_channel_affine"
    ).split()
)
SMOOTH = frozenset(
    (
        "gelu silu mish softplus logsigmoid log_sigmoid softsign tanh sigmoid tanhshrink exp expm1 exp2 sin cos tan"
        " sinh cosh asinh atan erf erfc erfcx ndtr log_ndtr i0 i0e i1 i1e sinc square deg2rad rad2deg"
    ).split()
)
SINGULAR = frozenset(
    (
        "log log1p log2 log10 sqrt rsqrt reciprocal pow float_power asin acos acosh atanh erfinv logit lgamma digamma"
    ).split()
)

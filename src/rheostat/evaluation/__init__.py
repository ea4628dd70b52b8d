"""The safety evaluation: walk an impairment down through an API, never seeing weights, and report what stays safe."""

# What is wanted: a report of every sample, a trained network, or one that adapted itself. How each file is
# made stands in workflows/rules.
if "training" in config:

    include: "workflows/rules/training.smk"

elif "selftraining" in config:

    include: "workflows/rules/selftraining.smk"

else:

    include: "workflows/rules/common.smk"
    include: "workflows/rules/session.smk"
    include: "workflows/rules/input.smk"
    include: "workflows/rules/segmentation.smk"
    include: "workflows/rules/evaluation.smk"

    rule all:
        default_target: True
        input:
            expand(f"{RESULTS}/{{sample}}/report.json", sample=CONFIG.samples),

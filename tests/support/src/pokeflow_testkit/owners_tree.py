"""The tree in the owner's document, leaf by leaf, and the leaves that no stage can fill yet."""

TREE = """
metadata/project_manifest.json
metadata/model_lineage.json
metadata/training_history.json
metadata/performance_benchmarks.json
models/dinov3-teacher/v1.0/model.tar.gz
models/dinov3-teacher/v1.0/pytorch/phase2_checkpoint.pt
models/dinov3-teacher/v1.0/onnx/dinov3_teacher.onnx
models/dinov3-teacher/v1.0/metrics.json
models/dinov3-teacher/v1.0/model_card.md
models/dinov3-teacher/training_config.json
models/efficientnet-student/stage1/v1.0/model.tar.gz
models/efficientnet-student/stage1/v1.0/student_stage1.pt
models/efficientnet-student/stage1/v1.0/student_stage1.onnx
models/efficientnet-student/stage1/v1.0/metrics.json
models/efficientnet-student/stage1/v1.0/distillation_report.json
models/efficientnet-student/stage1/training_config.json
models/efficientnet-student/stage2/v2.0/model.tar.gz
models/efficientnet-student/stage2/v2.0/student_stage2_final.pt
models/efficientnet-student/stage2/v2.0/student_stage2_final.onnx
models/efficientnet-student/stage2/v2.0/metrics.json
models/efficientnet-student/stage2/v2.0/distillation_report.json
models/efficientnet-student/stage2/training_config.json
models/efficientnet-hailo/v2.1/pokemon_student_efficientnet_lite0_stage2.hef
models/efficientnet-hailo/v2.1/compilation_report.json
models/efficientnet-hailo/v2.1/profiling_results.json
models/efficientnet-hailo/v2.1/hailo_config.yaml
models/efficientnet-hailo/calibration/calibration_dataset.npy
models/efficientnet-hailo/calibration/calibration_config.json
experiments/mlflow/
profiling/teacher/sagemaker_debugger/rules/
profiling/teacher/sagemaker_debugger/tensors/
profiling/teacher/sagemaker_profiler/system/
profiling/teacher/sagemaker_profiler/framework/
profiling/teacher/sagemaker_profiler/reports/profiler-report.html
profiling/student_stage1/
profiling/student_stage2/
analytics/dashboards/training_overview.json
analytics/dashboards/model_performance.json
analytics/dashboards/cost_tracking.json
analytics/reports/model_comparison_report.pdf
analytics/reports/distillation_analysis.pdf
analytics/reports/edge_deployment_benchmarks.pdf
analytics/reports/training_summary.pdf
analytics/metrics/accuracy_over_time.csv
analytics/metrics/loss_convergence.csv
analytics/metrics/inference_latency.csv
analytics/metrics/model_sizes.csv
data/raw/
data/processed/
data/calibration/
data/reference/
pipelines/training/teacher_pipeline.py
pipelines/training/student_pipeline.py
pipelines/inference/batch_inference_pipeline.py
pipelines/inference/realtime_endpoint_pipeline.py
pipelines/deployment/model_packaging_pipeline.py
pipelines/deployment/edge_deployment_pipeline.py
checkpoints/teacher/
checkpoints/student_stage1/
checkpoints/student_stage2/
""".strip().splitlines()
"""Every leaf in the owner's document; a folder ends in '/'."""

GAPS = {
    "models/efficientnet-hailo/v2.1/pokemon_student_efficientnet_lite0_stage2.hef": "backend hailo",
    "models/efficientnet-hailo/v2.1/hailo_config.yaml": "backend hailo",
    "experiments/mlflow/": "track",
    "analytics/": "report",
    "data/raw/": "drawn",
}
"""Leaves, or folders of them, that the embedded lineage leaves empty, and a word of the reason in the message."""

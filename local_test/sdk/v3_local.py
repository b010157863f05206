"""SDK v3, local mode: the image trains on a folder of photos, answers, and takes a batch, all here.

    python local_test/sdk/v3_local.py PHOTOS

PHOTOS holds train/ and, if you like, validation/, each with one folder per class. Needs Docker and
Compose, no account: nothing leaves the machine. AWS_DEFAULT_REGION must name a region, any one.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from sagemaker.core.local import LocalSession
from sagemaker.core.shapes import OutputDataConfig
from sagemaker.core.training.configs import Compute, InputData
from sagemaker.core.transformer import Transformer
from sagemaker.train import ModelTrainer
from sagemaker.train.model_trainer import Mode

photos = Path(sys.argv[1]).resolve()
image = os.environ.get("IMAGE", "image-classification:latest")
port = int(os.environ.get("SERVING_PORT", "8080"))
results = Path(tempfile.mkdtemp())
# without it the SDK reports each call to its maker
os.environ.setdefault(
    "SAGEMAKER_USER_CONFIG_OVERRIDE", str(Path(__file__).with_name("config.yaml"))
)
session = LocalSession(default_bucket="local-mode-asks-for-none")
session.config = {"local": {"serving_port": port}}
# never assumed here; a short name would be looked up in an account
role = "arn:aws:iam::123456789012:role/sagemaker"

trainer = ModelTrainer(
    training_mode=Mode.LOCAL_CONTAINER,
    training_image=image,
    role=role,
    base_job_name="photos",
    compute=Compute(instance_type="local_cpu", instance_count=1),
    output_data_config=OutputDataConfig(s3_output_path="s3://local-mode-writes-to-none"),
    # else the current folder
    local_container_root=str(results),
    sagemaker_session=session,
    hyperparameters={
        "network": "small_cnn",
        "pretrained": False,
        "fine_tune": "all",
        "image_size": 32,
        "epochs": 2,
    },
)
folders = [folder for folder in sorted(photos.iterdir()) if folder.is_dir()]
trainer.train([InputData(channel_name=each.name, data_source=str(each)) for each in folders])
model = results / "compressed_artifacts" / "model.tar.gz"
print("model:", model)

# ModelBuilder.deploy_local knows a few servers by name and no other image, so the client itself
client, runtime = session.sagemaker_client, session.sagemaker_runtime_client
client.create_model(
    ModelName="photos",
    ExecutionRoleArn=role,
    PrimaryContainer={"Image": image, "ModelDataUrl": f"file://{model}", "Environment": {}},
)
variant = {"VariantName": "all", "ModelName": "photos", "InstanceType": "local",
           "InitialInstanceCount": 1}  # fmt: skip
client.create_endpoint_config("photos", [variant])
client.create_endpoint("photos", "photos")
photo = next((photos / "train").rglob("*.jpg"))
try:
    answer = runtime.invoke_endpoint(photo.read_bytes(), "photos", "image/jpeg", "application/json")
    print("answer:", json.dumps(json.loads(answer["Body"].read())["predictions"][0]))
finally:
    client.delete_endpoint("photos")

transformer = Transformer(
    model_name="photos",
    instance_count=1,
    instance_type="local",
    # the other strategy reads photos as text
    strategy="SingleRecord",
    output_path=f"file://{results / 'batch'}",
    # else an account is asked for the model's name
    base_transform_job_name="photos",
    sagemaker_session=session,
)
# wait=False: it is done by now, and waiting would ask an account for its log
transformer.transform(f"file://{photo.parent}", content_type="image/jpeg", wait=False)
for path in sorted((results / "batch").rglob("*.out")):
    print("batch:", path.name, json.loads(path.read_text())["predictions"][0]["label"])

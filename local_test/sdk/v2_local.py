"""SDK v2, local mode: the image trains on a folder of photos, answers, and takes a batch, all here.

    python local_test/sdk/v2_local.py PHOTOS

PHOTOS holds train/ and, if you like, validation/, each with one folder per class. Needs Docker and
Compose, no account: nothing leaves the machine. AWS_DEFAULT_REGION must name a region, any one.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from sagemaker.deserializers import JSONDeserializer
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
from sagemaker.serializers import IdentitySerializer

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

estimator = Estimator(
    image_uri=image,
    # never assumed here; a short name would be looked up in an account
    role="arn:aws:iam::123456789012:role/sagemaker",
    instance_count=1,
    instance_type="local",
    output_path=f"file://{results}",
    sagemaker_session=session,
    hyperparameters={
        "network": "small_cnn",
        "pretrained": False,
        "fine_tune": "all",
        "image_size": 32,
        "epochs": 2,
    },
)
channels = {name.name: f"file://{name}" for name in sorted(photos.iterdir()) if name.is_dir()}
estimator.fit(channels)
print("model:", estimator.model_data)

predictor = estimator.deploy(
    initial_instance_count=1,
    instance_type="local",
    serializer=IdentitySerializer("image/jpeg"),
    deserializer=JSONDeserializer(),
    # it is up by now: local mode has asked /ping, and would sleep 30 s more
    wait=False,
)
photo = next((photos / "train").rglob("*.jpg"))
try:
    print("answer:", json.dumps(predictor.predict(photo.read_bytes())["predictions"][0]))
finally:
    predictor.delete_endpoint()

# SingleRecord: the other strategy reads photos as text
transformer = estimator.transformer(
    instance_count=1,
    instance_type="local",
    strategy="SingleRecord",
    output_path=f"file://{results / 'batch'}",
)
# wait=False: it is done by now, and waiting would ask an account for its log
transformer.transform(f"file://{photo.parent}", content_type="image/jpeg", wait=False)
for path in sorted((results / "batch").rglob("*.out")):
    print("batch:", path.name, json.loads(path.read_text())["predictions"][0]["label"])

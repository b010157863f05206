"""SDK v2: an endpoint of one model, one endpoint of many, and a batch over a folder of photos.

    python local_test/sdk/v2_hosting.py s3://BUCKET/JOB/output/model.tar.gz s3://BUCKET/photos \
        s3://BUCKET/output ROLE IMAGE

Starts all three and does not wait. The endpoints cost money until they are deleted.
"""

import sys

from sagemaker.deserializers import JSONDeserializer
from sagemaker.model import Model
from sagemaker.multidatamodel import MultiDataModel
from sagemaker.predictor import Predictor
from sagemaker.serializers import IdentitySerializer
from sagemaker.session import Session

weights, photos, output, role, image = sys.argv[1:]
session = Session()
on = {"initial_instance_count": 1, "instance_type": "ml.c5.xlarge", "wait": False}
talk = {"serializer": IdentitySerializer("image/jpeg"), "deserializer": JSONDeserializer()}

model = Model(
    image_uri=image,
    model_data=weights,
    role=role,
    env={"TOP_K": "3"},
    enable_network_isolation=True,
    predictor_cls=Predictor,
    sagemaker_session=session,
)
predictor = model.deploy(**on, **talk)
print("endpoint:", predictor.endpoint_name)

transformer = model.transformer(
    instance_count=1,
    instance_type="ml.c5.xlarge",
    # a photo is a record, and never split
    strategy="SingleRecord",
    accept="application/jsonlines",
    assemble_with="Line",
    output_path=output,
)
transformer.transform(photos, content_type="application/x-image", wait=False)
print("transform job:", transformer.latest_transform_job.name)

many = MultiDataModel(
    name=f"{model.name}-many",
    model_data_prefix=f"{output}/models/",
    image_uri=image,
    role=role,
    predictor_cls=Predictor,
    sagemaker_session=session,
)
several = many.deploy(**on, **talk)
many.add_model(weights, "bees.tar.gz")
print("multi-model endpoint:", several.endpoint_name, "of", *many.list_models())

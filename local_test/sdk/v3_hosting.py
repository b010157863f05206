"""SDK v3: an endpoint of one model, one endpoint of many, and a batch over a folder of photos.

    python local_test/sdk/v3_hosting.py s3://BUCKET/JOB/output/model.tar.gz s3://BUCKET/photos \
        s3://BUCKET/output ROLE IMAGE

Starts all three and does not wait. The endpoints cost money until they are deleted.
"""

import sys

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.serve import ModelBuilder

weights, photos, output, role, image = sys.argv[1:]
session = Session()

builder = ModelBuilder(
    image_uri=image,
    s3_model_data_url=weights,
    role_arn=role,
    env_vars={"TOP_K": "3"},
    instance_type="ml.c5.xlarge",
    sagemaker_session=session,
)
model = builder.build(model_name="photos")
endpoint = builder.deploy(
    endpoint_name="photos", initial_instance_count=1, instance_type="ml.c5.xlarge", wait=False
)
print("endpoint:", endpoint.endpoint_name)

transformer = builder.transformer(
    instance_count=1,
    instance_type="ml.c5.xlarge",
    # a photo is a record, and never split
    strategy="SingleRecord",
    accept="application/jsonlines",
    assemble_with="Line",
    output_path=output,
)
transformer.transform(photos, content_type="application/x-image", wait=False)
print("transform job:", transformer.latest_transform_job.transform_job_name)

# v3 has no MultiDataModel
Model.create(
    model_name="photos-many",
    execution_role_arn=role,
    primary_container=ContainerDefinition(
        image=image, mode="MultiModel", model_data_url=f"{output}/models/"
    ),
    session=session.boto_session,
)
EndpointConfig.create(
    endpoint_config_name="photos-many",
    production_variants=[
        ProductionVariant(
            variant_name="all",
            model_name="photos-many",
            instance_type="ml.c5.xlarge",
            initial_instance_count=1,
        )
    ],
    session=session.boto_session,
)
many = Endpoint.create(
    endpoint_name="photos-many",
    endpoint_config_name="photos-many",
    session=session.boto_session,
)
print("multi-model endpoint:", many.endpoint_name)

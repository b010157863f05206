"""Instances that the image runs on, and which of them fit a job."""

CPU = ("ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge", "ml.m5.4xlarge", "ml.c5.xlarge",
       "ml.c5.2xlarge", "ml.c5.4xlarge", "ml.c5.9xlarge")  # fmt: skip
"""Of one generation, whose names training, transform and endpoints share."""
GPU = ("ml.g4dn.xlarge", "ml.g4dn.2xlarge", "ml.g4dn.12xlarge", "ml.g5.xlarge", "ml.g5.2xlarge",
       "ml.g5.12xlarge", "ml.p3.2xlarge", "ml.p3.8xlarge")  # fmt: skip
TRAINING = (*CPU, *GPU)
TRANSFORM = ("ml.m5.large", "ml.m5.xlarge", "ml.m5.2xlarge", "ml.m5.4xlarge", "ml.c5.xlarge",
             "ml.c5.2xlarge", "ml.c5.4xlarge", "ml.c5.9xlarge", "ml.g4dn.xlarge")  # fmt: skip
REALTIME = (*CPU, *GPU)

ADVICE = [
    {
        "For": "a new head on a frozen backbone (fine_tune=head), to some 100,000 photos",
        "Instance": "ml.c5.2xlarge",
        "Why": "each photo passes the backbone once; more processors decode and compute faster",
    },
    {
        "For": "all weights (fine_tune=all), or millions of photos",
        "Instance": "ml.g5.2xlarge",
        "Why": "a GPU computes a step tens of times faster; its 8 processors decode for it",
    },
    {
        "For": "several GPUs, once one of them is busy all the time",
        "Instance": "ml.g5.12xlarge",
        "Why": "four GPUs in one host exchange gradients without the network",
    },
    {
        "For": "an endpoint",
        "Instance": "ml.c5.xlarge",
        "Why": "the server plans its threads from the processors; a GPU pays from hundreds of "
        "photos a second on",
    },
]

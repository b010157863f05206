"""Where the platform keeps the images of the Debugger's own rules."""

ACCOUNTS = {
    "us-east-1": "503895931360", "us-east-2": "915447279597", "us-west-1": "685455198987",
    "us-west-2": "895741380848", "eu-west-1": "929884845733", "eu-west-2": "250201462417",
    "eu-west-3": "447278800020", "eu-central-1": "482524230118", "eu-north-1": "314864569078",
    "ap-northeast-1": "430734990657", "ap-northeast-2": "578805364391",
    "ap-southeast-1": "972752614525", "ap-southeast-2": "184798709955",
    "ap-south-1": "904829902805", "ca-central-1": "519511493484", "sa-east-1": "818342061345",
}  # fmt: skip
"""By region: DG/debugger-reference."""

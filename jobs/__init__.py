"""The SageMaker side: requests built from one file, sent with boto3, watched, cleaned up."""

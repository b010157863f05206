"""What the image can do, as JSON for the platform's API and its SDKs."""

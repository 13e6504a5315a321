"""Make the bucket of the stack's S3 store if it is not there."""

import sys

import boto3


def main(name: str) -> None:
    store = boto3.client("s3")
    if name not in {bucket["Name"] for bucket in store.list_buckets()["Buckets"]}:
        store.create_bucket(Bucket=name)


if __name__ == "__main__":
    main(sys.argv[1])

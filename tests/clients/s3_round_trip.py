"""Does everything a boto3 program commonly does against one endpoint and prints what it got.

    s3_round_trip.py ENDPOINT BUCKET

The output is JSON without anything that may differ between two equal stores (dates, request ids),
so that a direct and a proxied run can be compared byte for byte.
"""

import hashlib
import json
import sys
import urllib.request

import boto3
import boto3.s3.transfer
import botocore.config
import botocore.exceptions

MIB = 1024 * 1024


def digest(data):
    return f"{len(data)}:{hashlib.sha256(data).hexdigest()}"


def pattern(size, salt):
    block = hashlib.sha256(salt.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def kept(answer):
    """What an answer says of the object."""
    names = ("ETag", "ContentLength", "ContentType", "ContentRange", "Metadata", "ChecksumCRC32")
    return {name: answer[name] for name in names if name in answer}


def main(endpoint, bucket):
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )
    seen = {}
    small = b"hello world"
    s3.put_object(
        Bucket=bucket, Key="dir/k 1", Body=small, ContentType="text/plain", Metadata={"version": "7"}
    )
    answer = s3.get_object(Bucket=bucket, Key="dir/k 1")
    seen["get"] = kept(answer) | {"body": digest(answer["Body"].read())}
    answer = s3.get_object(Bucket=bucket, Key="dir/k 1", Range="bytes=2-6")
    seen["range"] = kept(answer) | {"body": answer["Body"].read().decode()}
    seen["head"] = kept(s3.head_object(Bucket=bucket, Key="dir/k 1"))

    odd = "odd/ä+b//c?d=1&e#f%20g.bin"
    s3.put_object(Bucket=bucket, Key=odd, Body=pattern(70_000, "odd"))
    seen["odd"] = digest(s3.get_object(Bucket=bucket, Key=odd)["Body"].read())

    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    seen["empty"] = digest(s3.get_object(Bucket=bucket, Key="empty")["Body"].read())

    big = pattern(13 * MIB, "big")
    parts = []
    upload = s3.create_multipart_upload(Bucket=bucket, Key="big")["UploadId"]
    for number, start in enumerate(range(0, len(big), 5 * MIB), 1):
        part = s3.upload_part(
            Bucket=bucket, Key="big", UploadId=upload, PartNumber=number, Body=big[start : start + 5 * MIB]
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    s3.complete_multipart_upload(
        Bucket=bucket, Key="big", UploadId=upload, MultipartUpload={"Parts": parts}
    )
    seen["multipart"] = digest(s3.get_object(Bucket=bucket, Key="big")["Body"].read())

    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "dir/k 1"})
    seen["copy"] = digest(s3.get_object(Bucket=bucket, Key="copy")["Body"].read())

    listed = s3.list_objects_v2(Bucket=bucket)
    seen["list"] = sorted((item["Key"], item["Size"]) for item in listed.get("Contents", []))
    listed = s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    seen["prefixes"] = sorted(item["Prefix"] for item in listed.get("CommonPrefixes", []))

    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "dir/k 1"})
    import os
    import ssl

    context = None
    if url.startswith("https"):
        context = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
    with urllib.request.urlopen(url, context=context, timeout=30) as answer:
        seen["presigned"] = digest(answer.read())

    try:
        s3.get_object(Bucket=bucket, Key="nothing here")
    except botocore.exceptions.ClientError as error:
        seen["missing"] = error.response["Error"]["Code"]

    for key in ["dir/k 1", odd, "empty", "big", "copy"]:
        s3.delete_object(Bucket=bucket, Key=key)
    seen["after"] = s3.list_objects_v2(Bucket=bucket).get("KeyCount")
    json.dump(seen, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

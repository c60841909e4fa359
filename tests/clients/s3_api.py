"""Goes through boto3's API against one endpoint and prints what each step gave, as JSON.

    s3_api.py ENDPOINT BUCKET

Every answer, with its headers, and every exception is printed, so that a direct and a proxied run can be
compared byte for byte. Left out is only what a store gives anew each time: moments, the ids of requests,
uploads, versions and, in places, the endpoint's own address.
"""

import concurrent.futures
import contextlib
import hashlib
import io
import json
import sys
import urllib.error
import urllib.request

import boto3
import boto3.s3.transfer
import botocore.config
import botocore.exceptions
import botocore.response

ENDPOINT, BUCKET = sys.argv[1:3]
ADDRESS = ENDPOINT.split("//")[1]
MIB = 1024 * 1024
# Names, in answers and in headers, of what is new each time.
NEW = {
    "date", "expires", "last-modified", "lastmodified", "creationdate", "initiated", "uploadid", "versionid", "x-amz-version-id", "x-amz-request-id", "x-amzn-requestid", "x-amz-id-2",
    "requestid", "hostid", "copysourceversionid", "x-amz-copy-source-version-id", "deletemarkerversionid", "versionidmarker", "nextversionidmarker", "nextuploadidmarker", "uploadidmarker",
}


def pattern(size, salt):
    block = hashlib.sha256(salt.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def plain(value):
    if isinstance(value, botocore.response.StreamingBody):
        value = value.read()
    if isinstance(value, botocore.exceptions.ClientError):
        return [type(value).__name__, plain(str(value)), plain(value.response)]
    if isinstance(value, Exception):
        return [type(value).__name__, plain(str(value))]
    if isinstance(value, bytes):
        return plain(value.decode("latin-1")) if len(value) < 200 else f"{len(value)}:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, dict):
        if value.get("content-type") == "application/xml":
            # What is new is in there too, and not always as long.
            value = value | {"content-length": "new"}
        return {key: ("new" if str(key).lower() in NEW else plain(item)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.replace(ADDRESS, "ENDPOINT") if isinstance(value, str) else value if isinstance(value, (int, float, bool, type(None))) else str(value)


def attempt(work, **more):
    try:
        answer = work(**more)
        # A body is read where it came, so that its connection goes back.
        return plain(answer)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, boto3.exceptions.Boto3Error) as error:
        return plain(error)


def client(**more):
    config = {"retries": {"total_max_attempts": 1}, "read_timeout": 30, "s3": {"addressing_style": "path"}} | more
    return boto3.client("s3", endpoint_url=ENDPOINT, region_name="us-east-1", config=botocore.config.Config(**config))


def ask(s3, operation, **more):
    more = {"Bucket": BUCKET} | more
    return operation, attempt(getattr(s3, operation), **{key: value for key, value in more.items() if value is not None})


def refused(operation, **more):
    """An upload that is refused before its body was asked for: then its connection may be closed, and whoever
    used it again would race with that."""
    return ask(client(), operation, **more)


def fetch(url, **more):
    request = urllib.request.Request(url, **more)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.reason, plain(dict(answer.headers)), plain(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.reason, plain(dict(error.headers)), hashlib.sha256(b"").hexdigest() if error.code == 304 else len(error.read()) > 0


def buckets(s3):
    yield ask(s3, "head_bucket"), ask(s3, "head_bucket", Bucket="nowhere"), ask(s3, "get_bucket_location"), ask(s3, "list_buckets", Bucket=None)
    yield ask(s3, "create_bucket"), ask(s3, "delete_bucket", Bucket="nowhere"), ask(s3, "list_objects_v2", Bucket="nowhere")
    yield ask(s3, "put_bucket_tagging", Tagging={"TagSet": [{"Key": "a", "Value": "é"}]}), ask(s3, "get_bucket_tagging"), ask(s3, "delete_bucket_tagging"), ask(s3, "get_bucket_tagging")
    yield ask(s3, "put_bucket_policy", Policy=json.dumps({"Version": "2012-10-17", "Statement": []})), ask(s3, "get_bucket_policy"), ask(s3, "delete_bucket_policy"), ask(s3, "get_bucket_policy")
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAgeSeconds": 7}
    yield ask(s3, "put_bucket_cors", CORSConfiguration={"CORSRules": [rule]}), ask(s3, "get_bucket_cors"), ask(s3, "delete_bucket_cors"), ask(s3, "get_bucket_cors")
    yield ask(s3, "get_bucket_acl"), ask(s3, "get_bucket_versioning"), ask(s3, "get_bucket_website"), ask(s3, "get_bucket_encryption"), ask(s3, "get_bucket_lifecycle_configuration")


def objects(s3):
    for key, body in (("empty", b""), ("one", b"1"), ("small", b"hello world"), ("large", pattern(3 * MIB + 7, "large")), ("odd/ä+b//c?d=1&e#f%20g ☃.bin", b"odd"), ("k" * 1000, b"long name")):
        yield ask(s3, "put_object", Key=key, Body=body), ask(s3, "get_object", Key=key), ask(s3, "head_object", Key=key)
    told = {"ContentType": "text/x; charset=utf-8", "CacheControl": "max-age=7", "ContentDisposition": 'attachment; filename="a b"', "ContentEncoding": "gzip", "ContentLanguage": "de", "Metadata": {"a": "1", "b-c": "two  words"}}
    yield ask(s3, "put_object", Key="told", Body=b"told", Tagging="a=1&b=%C3%A9", **told), ask(s3, "get_object", Key="told"), ask(s3, "head_object", Key="told"), ask(s3, "put_object", Key="m", Metadata={"é": "no"})
    yield ask(s3, "get_object", Key="told", ResponseContentType="a/b", ResponseCacheControl="no-store"), ask(s3, "get_object_tagging", Key="told"), ask(s3, "put_object_tagging", Key="told", Tagging={"TagSet": []})
    yield ask(s3, "delete_object_tagging", Key="told"), ask(s3, "get_object_attributes", Key="small", ObjectAttributes=["ETag", "ObjectSize", "Checksum"]), ask(s3, "get_object_acl", Key="small"), ask(s3, "put_object_acl", Key="small", ACL="private")
    for missing in ("get_object", "head_object", "delete_object", "get_object_tagging"):
        yield ask(s3, missing, Key="nothing here")
    yield refused("put_object", Key="into nowhere", Bucket="nowhere", Body=pattern(2 * MIB, "nowhere")), refused("put_object", Key="small", Body=b"wrong", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")


def ranges(s3):
    for span in ("bytes=0-0", "bytes=2-6", "bytes=6-", "bytes=-5", "bytes=0-99999", "bytes=11-", "bytes=99-100", "bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=-0"):
        yield span, ask(s3, "get_object", Key="small", Range=span)
    yield ask(s3, "get_object", Key="large", Range="bytes=1000000-2999999"), ask(s3, "head_object", Key="small", Range="bytes=0-3")
    etag = s3.head_object(Bucket=BUCKET, Key="small")["ETag"]
    for change in ({"IfMatch": etag}, {"IfMatch": '"other"'}, {"IfNoneMatch": etag}, {"IfNoneMatch": '"other"'}, {"IfNoneMatch": "*"}, {"IfModifiedSince": "2100-01-01"}, {"IfModifiedSince": "2000-01-01"}, {"IfUnmodifiedSince": "2000-01-01"}, {"IfMatch": etag, "Range": "bytes=0-1"}):
        yield ask(s3, "get_object", Key="small", **change), ask(s3, "head_object", Key="small", **change)
    yield refused("put_object", Key="small", Body=b"never", IfNoneMatch="*"), ask(s3, "put_object", Key="fresh", Body=b"first", IfNoneMatch="*"), ask(s3, "put_object", Key="small", Body=b"hello world", IfMatch=etag), refused("put_object", Key="small", Body=b"x", IfMatch='"other"')


def checksums(s3):
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        yield ask(s3, "put_object", Key=algorithm, Body=b"summed", ChecksumAlgorithm=algorithm), ask(s3, "head_object", Key=algorithm, ChecksumMode="ENABLED"), ask(s3, "get_object", Key=algorithm, ChecksumMode="ENABLED")
    yield refused("put_object", Key="bad", Body=b"summed", ChecksumSHA256="AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="), refused("put_object", Key="bad", Body=b"summed", ChecksumCRC32="AAAAAA==")

    class Once(io.RawIOBase):
        """A body that cannot be read twice: its sum comes behind it, as a trailer."""

        def __init__(self, size):
            self.rest = pattern(size, "once")

        def readable(self):
            return True

        def read(self, size=-1):
            size = len(self.rest) if size is None or size < 0 else size
            piece, self.rest = self.rest[:size], self.rest[size:]
            return piece

    plain_client = client(request_checksum_calculation="when_required", response_checksum_validation="when_required")
    yield ask(plain_client, "put_object", Key="required", Body=b"when required"), ask(plain_client, "get_object", Key="required")
    yield attempt(lambda: s3.upload_fileobj(Once(300_000), BUCKET, "once")), ask(s3, "get_object", Key="once")


def listings(s3):
    for n in range(45):
        s3.put_object(Bucket=BUCKET, Key=f"list/{n % 3}/é {n:03}&<", Body=b"x" * n)
    for more in ({}, {"Delimiter": "/"}, {"Prefix": "list/", "Delimiter": "/"}, {"Prefix": "list/1/", "MaxKeys": 4}, {"StartAfter": "list/1/é 020&<"}, {"Prefix": "none"}, {"MaxKeys": 0}, {"EncodingType": "url"}, {"FetchOwner": True}, {"ContinuationToken": "nonsense"}):
        yield ask(s3, "list_objects_v2", **more)
    yield ask(s3, "list_objects", Prefix="list/", MaxKeys=7), ask(s3, "list_objects", Prefix="list/", Marker="list/2", Delimiter="0")
    for operation in ("list_objects_v2", "list_objects"):
        pages = s3.get_paginator(operation).paginate(Bucket=BUCKET, Prefix="list/", PaginationConfig={"PageSize": 10})
        yield [[(item["Key"], item["Size"], item["ETag"]) for item in page.get("Contents", [])] for page in pages]
    doomed = [{"Key": f"list/0/é {n:03}&<"} for n in range(0, 45, 3)]
    yield ask(s3, "delete_objects", Delete={"Objects": [*doomed, {"Key": "none"}]}), ask(s3, "delete_objects", Delete={"Objects": doomed[:2], "Quiet": True}), ask(s3, "list_objects_v2", Prefix="list/0")


def multipart(s3):
    big = pattern(12 * MIB, "big")
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key="big", Metadata={"m": "1"}, ContentType="x/y")["UploadId"]
    own = {"Key": "big", "UploadId": upload}
    parts = [ask(s3, "upload_part", PartNumber=number, Body=big[start : start + 5 * MIB], **own) for number, start in enumerate(range(0, len(big), 5 * MIB), 1)]
    yield parts, ask(s3, "list_parts", **own), ask(s3, "list_parts", MaxParts=1, **own), ask(s3, "list_multipart_uploads"), ask(s3, "upload_part", PartNumber=2, Body=big[5 * MIB : 10 * MIB], **own)
    numbered = [{"PartNumber": number, "ETag": part[1]["ETag"]} for number, part in enumerate(parts, 1)]
    yield ask(s3, "complete_multipart_upload", MultipartUpload={"Parts": [{"PartNumber": 9, "ETag": '"none"'}]}, **own), ask(s3, "complete_multipart_upload", MultipartUpload={"Parts": numbered}, **own)
    yield ask(s3, "get_object", Key="big"), ask(s3, "head_object", Key="big"), ask(s3, "get_object", Key="big", PartNumber=2), ask(s3, "list_parts", **own)
    other = s3.create_multipart_upload(Bucket=BUCKET, Key="copied parts")["UploadId"]
    own = {"Key": "copied parts", "UploadId": other}
    source = {"Bucket": BUCKET, "Key": "big"}
    yield ask(s3, "upload_part_copy", PartNumber=1, CopySource=source, CopySourceRange="bytes=0-5242879", **own), ask(s3, "upload_part_copy", PartNumber=2, CopySource={"Bucket": BUCKET, "Key": "none"}, **own)
    yield ask(s3, "abort_multipart_upload", **own), ask(s3, "abort_multipart_upload", **own), refused("upload_part", PartNumber=1, Body=b"late", **own), ask(s3, "list_multipart_uploads")
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4, num_download_attempts=1)
    seen = []
    yield s3.upload_fileobj(io.BytesIO(big), BUCKET, "transferred", Config=config, Callback=seen.append), sum(seen), ask(s3, "head_object", Key="transferred")
    got = io.BytesIO()
    yield s3.download_fileobj(BUCKET, "transferred", got, Config=config), plain(got.getvalue()), s3.copy(source, BUCKET, "copied whole", Config=config), ask(s3, "get_object", Key="copied whole")


def copies(s3):
    source = {"Bucket": BUCKET, "Key": "told"}
    yield ask(s3, "copy_object", Key="copy", CopySource=source), ask(s3, "head_object", Key="copy"), ask(s3, "copy_object", Key="copy", CopySource=source, MetadataDirective="REPLACE", Metadata={"new": "1"}), ask(s3, "head_object", Key="copy")
    yield ask(s3, "copy_object", Key="copy", CopySource={"Bucket": BUCKET, "Key": "none"}), ask(s3, "copy_object", Key="copy", CopySource=source, CopySourceIfMatch='"other"'), ask(s3, "copy_object", Key="told", CopySource=source)
    yield ask(s3, "copy_object", Key="odd copy", CopySource={"Bucket": BUCKET, "Key": "odd/ä+b//c?d=1&e#f%20g ☃.bin"}), ask(s3, "get_object", Key="odd copy")


def versions(s3):
    own = {"Bucket": f"{BUCKET}-versioned"}
    yield ask(s3, "create_bucket", **own), ask(s3, "put_bucket_versioning", VersioningConfiguration={"Status": "Enabled"}, **own), ask(s3, "put_object", Key="k", Body=b"first", **own), ask(s3, "put_object", Key="k", Body=b"second", **own)
    yield ask(s3, "delete_object", Key="k", **own), ask(s3, "get_object", Key="k", **own), ask(s3, "list_object_versions", **own), ask(s3, "head_object", Key="k", VersionId="nonsense", **own)


def presigned(s3):
    def url(operation, **more):
        return s3.generate_presigned_url(operation, Params={"Bucket": BUCKET} | more)

    yield fetch(url("get_object", Key="small")), fetch(url("get_object", Key="odd/ä+b//c?d=1&e#f%20g ☃.bin")), fetch(url("get_object", Key="small"), headers={"Range": "bytes=1-3"}), fetch(url("head_object", Key="small"), method="HEAD")
    yield fetch(url("put_object", Key="signed"), data=b"put by url", method="PUT", headers={"Content-Type": ""}), fetch(url("get_object", Key="signed")), fetch(url("delete_object", Key="signed"), method="DELETE"), fetch(url("get_object", Key="signed"))
    form = s3.generate_presigned_post(BUCKET, "posted")
    text = "".join(f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in form["fields"].items())
    text += '--edge\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nthe file\r\n--edge--\r\n'
    yield fetch(form["url"], data=text.encode(), headers={"Content-Type": "multipart/form-data; boundary=edge"}), ask(s3, "get_object", Key="posted")
    unsigned = client(signature_version=botocore.UNSIGNED)
    yield ask(unsigned, "head_object", Key="small")[0], fetch(f"{ENDPOINT}/{BUCKET}/small", method="OPTIONS", headers={"Origin": "http://x", "Access-Control-Request-Method": "GET"})[0]


def together(s3):
    def one(n):
        s3.put_object(Bucket=BUCKET, Key=f"together/{n}", Body=pattern(n * 9_973, str(n)))
        return ask(s3, "get_object", Key=f"together/{n}")

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        yield list(pool.map(one, range(24)))
    resource = boto3.resource("s3", endpoint_url=ENDPOINT, region_name="us-east-1").Bucket(BUCKET)
    yield sorted((item.key, item.size) for item in resource.objects.filter(Prefix="together/")), resource.Object("small").get()["Body"].read(5).decode()
    body = s3.get_object(Bucket=BUCKET, Key="large")["Body"]
    yield plain(body.read(1000)), body.close(), ask(s3, "get_object", Key="small")
    yield sum(len(piece) for piece in s3.get_object(Bucket=BUCKET, Key="large")["Body"].iter_chunks(10_007)), [plain(line) for line in s3.get_object(Bucket=BUCKET, Key="small")["Body"].iter_lines()]


def purge(s3):
    """Leaves nothing of what was done; not every store has versions, or lists uploads."""
    with contextlib.suppress(botocore.exceptions.ClientError):
        for upload in s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    other = f"{BUCKET}-versioned"
    with contextlib.suppress(botocore.exceptions.ClientError):
        listed = s3.list_object_versions(Bucket=other)
        for item in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=other, Key=item["Key"], VersionId=item["VersionId"])
    for name in (BUCKET, other):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
            for item in page.get("Contents", []):
                s3.delete_object(Bucket=name, Key=item["Key"])
    s3.delete_bucket(Bucket=other)


PARTS = (buckets, objects, ranges, checksums, listings, multipart, copies, versions, presigned, together)
own = client()
out = {part.__name__: [plain(step) for step in part(own)] for part in PARTS}
purge(own)
print(json.dumps(out, indent=1, sort_keys=True))

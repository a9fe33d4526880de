"""A store in an S3 bucket. The only package that knows boto3 and its errors.

location    s3://BUCKET/PREFIX and keys <-> names of objects
client      a boto3 client from options
errors      what botocore raises -> artfs.errors; what is worth another try
transfer    requests with a body: put, get, ranges, with retries of what botocore gives up
reader      random access to one object
writer      uploads, in parts if large
listing     existence   which of several objects are there
    series      the end of a series of objects
    listings in the order of keys, whatever the server's order is
conditions  whether a server does conditional writes at all
store       the interface, put together
"""

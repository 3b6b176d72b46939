"""aiomysql."""

import aiomysql

from dbapi import stories
from harness import *
from waiting import Waiting


class AioMySql(Waiting):
    documentation = "https://aiomysql.readthedocs.io/en/stable/connection.html"
    module = aiomysql
    unbuffered = aiomysql.SSCursor
    absent = {"orm": "SQLAlchemy's traffic is run with PyMySQL, whose protocol it is"}


run(f"aiomysql {aiomysql.__version__}", stories(AioMySql()))

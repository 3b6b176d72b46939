"""What SQLAlchemy's applications do: a pool with pre-ping, reflection, an object graph, transactions, bulk inserts."""

from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.pool import QueuePool

from harness import *


class Base(orm.DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "orm_author"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(80), unique=True)
    born: orm.Mapped[sa.Date | None] = orm.mapped_column(sa.Date)
    settings: orm.Mapped[dict] = orm.mapped_column(sa.JSON, default=dict)
    books: orm.Mapped[list["Book"]] = orm.relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "orm_book"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    title: orm.Mapped[str] = orm.mapped_column(sa.Text)
    price: orm.Mapped[Decimal] = orm.mapped_column(sa.Numeric(10, 2))
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("orm_author.id"))
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")


def traffic(adapter):
    engine = sa.create_engine(
        f"{adapter.dialect}://", creator=adapter.raw, poolclass=QueuePool, pool_size=2, pool_pre_ping=True,
        isolation_level="REPEATABLE READ",
    )
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        for number in range(3):
            books = [Book(title=f"Buch {n} 世界", price=Decimal(n) / 4) for n in range(40)]
            session.add(Author(name=f"author {number}", settings={"n": [number, None]}, books=books))
        session.commit()
        see(session.scalars(sa.select(Author).order_by(Author.id)).all()[1].settings)
        query = (
            sa.select(Author.name, sa.func.count(Book.id), sa.func.sum(Book.price))
            .join(Book).group_by(Author.name).order_by(Author.name)
        )
        see(*map(tuple, session.execute(query)))
        author = session.scalars(sa.select(Author).options(orm.selectinload(Author.books)).limit(1)).one()
        see(len(author.books), session.execute(sa.update(Book).where(Book.price > 5).values(price=5)).rowcount)
        session.rollback()
        try:
            with session.begin_nested():
                session.execute(sa.insert(Author), [{"name": "author 1", "settings": {}}])
        except sa.exc.IntegrityError as error:
            see(adapter.error(error.orig)[0])
        session.execute(sa.insert(Author), [{"name": f"bulk {n}", "settings": {}} for n in range(500)])
        session.delete(author)
        session.commit()
        see(session.scalar(sa.select(sa.func.count()).select_from(Author)))
        found = sa.select(Author).where(Author.name.like("bulk 4%")).execution_options(yield_per=10)
        see(sum(1 for _ in session.scalars(found)))
    inspected = sa.inspect(engine)
    see(inspected.get_columns("orm_book"), inspected.get_foreign_keys("orm_book"), inspected.get_indexes("orm_author"))
    see(inspected.get_columns("every_type"))
    # A pooled connection that has died is found by the ping and replaced. The gateway says it with a number that SQLAlchemy
    # knows; directly it has to know the client's own.
    if HANDLE is not None or adapter.loss_is_known:
        replace(adapter, engine)
    Base.metadata.drop_all(engine)
    engine.dispose()


def replace(adapter, engine):
    with engine.connect() as connection:
        number = adapter.number(connection.connection.driver_connection)
    killer = adapter.connect()
    adapter.query(killer, f"kill {number}")
    with engine.connect() as connection:
        expect(connection.scalar(sa.text("select 1")), 1)

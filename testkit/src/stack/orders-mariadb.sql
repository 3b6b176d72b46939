-- The same small shop as in orders.sql, row by row.
create table customers (
    id          integer primary key,
    name        varchar(200) not null,
    email       varchar(200) not null unique,
    city        varchar(200) not null,
    country     char(2) not null,
    created_at  datetime not null
);
create table products (
    id          integer primary key,
    sku         varchar(20) not null unique,
    name        varchar(200) not null,
    unit_price  numeric(10, 2) not null check (unit_price > 0)
);
create table orders (
    id           bigint primary key auto_increment,
    customer_id  integer not null references customers (id),
    ordered_at   datetime not null,
    status       varchar(10) not null check (status in ('new', 'paid', 'shipped', 'returned')),
    index (ordered_at)
);
create table order_lines (
    order_id    bigint not null references orders (id) on delete cascade,
    line        smallint not null,
    product_id  integer not null references products (id),
    quantity    smallint not null check (quantity > 0),
    unit_price  numeric(10, 2) not null,
    primary key (order_id, line)
);

insert into customers
select seq, concat(first, ' ', last), concat(lower(concat(first, '.', last)), seq, '@shop.example'), city, country,
       timestamp '2024-01-01 08:00' + interval seq * 131 minute
from (
    select seq,
           elt(1 + seq % 20, 'Ada', 'Alan', 'Barbara', 'Claude', 'Donald', 'Edsger', 'Edgar', 'Frances', 'Grace', 'Hedy',
               'Ivan', 'Jean', 'Ken', 'Leslie', 'Margaret', 'Niklaus', 'Radia', 'Sophie', 'Tim', 'Yukihiro') as first,
           elt(1 + (seq div 20) % 20, 'Adler', 'Bauer', 'Costa', 'Dubois', 'Evans', 'Fischer', 'Garcia', 'Hansen', 'Ito',
               'Jansen', 'Kowalski', 'Larsen', 'Moreau', 'Novak', 'Olsen', 'Petit', 'Rossi', 'Schmidt', 'Tanaka',
               'Weber') as last,
           elt(1 + (seq * 7) % 10, 'Berlin', 'Lyon', 'Milano', 'Porto', 'Utrecht', 'Oslo', 'Aarhus', 'Brno', 'Graz',
               'Gent') as city,
           elt(1 + (seq * 7) % 10, 'DE', 'FR', 'IT', 'PT', 'NL', 'NO', 'DK', 'CZ', 'AT', 'BE') as country
    from seq_1_to_5000
) as words;

insert into products
select seq,
       concat('SKU-', lpad(seq, 5, '0')),
       concat(elt(1 + seq % 8, 'Oak', 'Steel', 'Linen', 'Glass', 'Copper', 'Walnut', 'Ceramic', 'Wool'), ' ',
              elt(1 + (seq div 8) % 12, 'Table', 'Lamp', 'Chair', 'Shelf', 'Bowl', 'Blanket', 'Mirror', 'Clock', 'Desk',
                  'Tray', 'Vase', 'Stool')),
       (199 + (seq * 7919) % 24800) / 100.0
from seq_1_to_500;

insert into orders (id, customer_id, ordered_at, status)
select seq,
       1 + (seq * 7919) % 5000,
       timestamp '2025-01-01 09:00' + interval seq * 23 minute,
       elt(1 + seq % 8, 'shipped', 'shipped', 'shipped', 'shipped', 'paid', 'shipped', 'returned', 'new')
from seq_1_to_25000;

insert into order_lines
select o.id, line.seq, 1 + (o.id * 31 + line.seq * 97) % 500, 1 + (o.id + line.seq) % 4, p.unit_price
from orders as o
join seq_1_to_9 as line on line.seq <= 1 + (o.id % 5 + o.id % 3) div 2 + (o.id % 7 = 0) + (o.id % 2)
join products as p on p.id = 1 + (o.id * 31 + line.seq * 97) % 500;

create sql security invoker view revenue_by_country as
select c.country, count(distinct o.id) as orders, sum(l.quantity * l.unit_price) as revenue
from customers as c
join orders as o on o.customer_id = c.id and o.status <> 'returned'
join order_lines as l on l.order_id = o.id
group by c.country;

analyze table customers, products, orders, order_lines;

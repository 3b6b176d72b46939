-- What clients find in both servers: a table with a column of every type, and a procedure with results and an OUT parameter.
set names utf8mb4;
create table every_type (
  id int primary key,
  a_tinyint tinyint, a_utinyint tinyint unsigned, a_smallint smallint, a_mediumint mediumint, an_int int,
  a_uint int unsigned, a_bigint bigint, a_ubigint bigint unsigned,
  a_decimal decimal(30, 10), a_float float, a_double double, a_bit bit(12),
  a_char char(10), a_varchar varchar(200), a_binary binary(8), a_varbinary varbinary(200),
  a_tinytext tinytext, a_text text, a_mediumtext mediumtext, a_longtext longtext,
  a_tinyblob tinyblob, a_blob blob, a_mediumblob mediumblob, a_longblob longblob,
  a_date date, a_time time(6), a_datetime datetime(6), a_timestamp timestamp(6) null, a_year year,
  an_enum enum('red', 'green'), a_set set('a', 'b', 'c'), a_json json
) character set utf8mb4;

insert into every_type values
(1, -128, 255, -32768, -8388608, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615,
 -12345678901234567890.0123456789, 1.5, 2.2250738585072014e-308, b'101010101010',
 'char', 'Grüße, 世界 🐘', x'00ff00ff00ff00ff', x'0001feff', 'tiny', 'text', 'medium', 'long',
 x'00', x'27225c0a', x'1a', x'fffe', '9999-12-31', '-838:59:59.000000', '1000-01-01 00:00:00.000001',
 '2038-01-19 03:14:07.999999', 2155, 'green', 'a,c', '{"a": [1, 2.5, null]}'),
(2, 127, 0, 32767, 8388607, 2147483647, 0, 9223372036854775807, 0,
 0.0000000001, -0.25, -1.7976931348623157e308, b'0',
 '', '', '', '', '', '', '', '', '', '', '', '', '2024-02-29', '12:34:56.789012', '2024-02-29 23:59:59',
 '1970-01-01 00:00:01', 1901, 'red', '', '[]'),
(3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
 null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);

delimiter //
create procedure both_ways(in given int, inout counted int)
begin
  select given as one;
  insert into every_type (id) values (1000 + given);
  select given + 1, 'two' union all select given + 2, 'three';
  delete from every_type where id = 1000 + given;
  set counted = counted + given;
end//
delimiter ;

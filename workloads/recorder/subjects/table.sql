-- A table of a million rows in memory, filled from a recursive query; an index, aggregates, a scan by LIKE,
-- a sort, a join. Read by the sqlite3 shell.
CREATE TABLE item (id INTEGER PRIMARY KEY, owner INTEGER, name TEXT, price REAL, note TEXT);
WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 1000000)
INSERT INTO item
SELECT n, n * 7919 % 5003, 'item-' || (n * 104729 % 1000003), (n * 31 % 9973) / 7.0, substr(hex(n * 2654435761), 1, 4 + n % 9)
FROM counter;
CREATE INDEX item_by_owner ON item (owner, price);
SELECT count(*), sum(price), max(name) FROM item;
SELECT owner, count(*), avg(price), min(name) FROM item GROUP BY owner ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM item WHERE name LIKE '%77%3%';
SELECT name, note FROM item ORDER BY note || name LIMIT 5;
SELECT count(*), sum(length(a.name || b.note)), max(a.note || b.name)
FROM item AS a JOIN item AS b ON b.id = a.id * 13 % 1000000 + 1
WHERE a.owner < 4000;

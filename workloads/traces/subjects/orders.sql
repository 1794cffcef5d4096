-- A shop's orders in memory: tables filled from recursive queries, indices, aggregates, joins, a text search, a
-- window function; then updates, deletes and a second filling, as a table that lives goes through. Read by the
-- sqlite3 shell.
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT, note TEXT);
CREATE TABLE purchase (id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, pieces INTEGER, price REAL, remark TEXT);

WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 8000)
INSERT INTO customer
SELECT n, 'customer ' || (n * 7919 % 100003), 'city ' || (n * 31 % 211), substr(hex(zeroblob(200)), 1, n * 37 % 300)
FROM counter;

WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < 60000)
INSERT INTO purchase
SELECT n, n * 104729 % 8000 + 1, 'item-' || (n * 613 % 997), n % 7 + 1, (n * 31 % 9973) / 7.0,
       CASE WHEN n % 11 = 0 THEN substr(hex(zeroblob(800)), 1, n * 53 % 1600) ELSE 'remark ' || n END
FROM counter;

CREATE INDEX purchase_by_customer ON purchase (customer, price);
CREATE INDEX purchase_by_item ON purchase (item);

SELECT count(*), sum(price * pieces), max(item) FROM purchase;
SELECT city, count(*), sum(price), group_concat(DISTINCT item) IS NOT NULL
FROM purchase JOIN customer ON customer.id = purchase.customer GROUP BY city ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM purchase WHERE item LIKE '%7%3%' AND remark NOT LIKE '%00%';
SELECT item, remark FROM purchase ORDER BY remark || item LIMIT 3;
SELECT sum(place) FROM (SELECT rank() OVER (PARTITION BY customer ORDER BY price) AS place FROM purchase);
SELECT count(*) FROM (SELECT json_group_array(item) AS items FROM purchase GROUP BY customer) WHERE items LIKE '%item-5%';

UPDATE purchase SET remark = remark || ' and more of it', price = price * 1.1 WHERE id % 3 = 0;
DELETE FROM purchase WHERE customer % 4 = 1;
VACUUM;

WITH RECURSIVE counter(n) AS (SELECT 60001 UNION ALL SELECT n + 1 FROM counter WHERE n < 80000)
INSERT INTO purchase SELECT n, n % 8000 + 1, 'late-' || (n % 97), 1, n / 3.0, 'late ' || n FROM counter;
SELECT name, sum(price) FROM customer JOIN purchase ON purchase.customer = customer.id GROUP BY name ORDER BY 2 DESC LIMIT 3;
DROP INDEX purchase_by_item;
DELETE FROM purchase;
SELECT count(*) FROM customer;

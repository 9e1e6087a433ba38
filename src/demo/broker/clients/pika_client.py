"""Does with pika what every worker does, and prints what it finds. Called with the broker's port."""

import sys

import pika

credentials = pika.PlainCredentials("shop", "p@ss")
parameters = pika.ConnectionParameters("127.0.0.1", int(sys.argv[1]), "/", credentials, heartbeat=10)
connection = pika.BlockingConnection(parameters)
channel = connection.channel()

declared = channel.queue_declare("clients", durable=True)
print("declared", declared.method.message_count)
channel.confirm_delivery()
for body in ("one", "two", "three"):
    channel.basic_publish("", "clients", body, pika.BasicProperties(delivery_mode=2))
print("found", channel.queue_declare("clients", passive=True).method.message_count)

method, _, body = channel.basic_get("clients")
print("got", body.decode(), method.redelivered)
channel.basic_nack(method.delivery_tag, requeue=True)
method, _, body = channel.basic_get("clients")
print("again", body.decode(), method.redelivered)
channel.basic_ack(method.delivery_tag)

channel.basic_qos(prefetch_count=1)
for method, _, body in channel.consume("clients"):
    print("consumed", body.decode())
    channel.basic_ack(method.delivery_tag)
    if body == b"three":
        break
channel.cancel()
print("left", channel.queue_declare("clients", passive=True).method.message_count)

try:
    channel.queue_declare("no-such-queue", passive=True)
except pika.exceptions.ChannelClosedByBroker as error:
    print("wrong", error.reply_code)
connection.close()

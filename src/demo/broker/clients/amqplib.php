<?php
// Does with php-amqplib what every worker does, and prints what it finds. Called with the broker's port.

require_once '/usr/share/php/PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;

$connection = new AMQPStreamConnection('127.0.0.1', (int) $argv[1], 'shop', 'p@ss', '/');
$channel = $connection->channel();

[, $ready] = $channel->queue_declare('clients', false, true, false, false);
echo "declared $ready\n";
$channel->confirm_select();
foreach (['one', 'two', 'three'] as $body) {
    $channel->basic_publish(new AMQPMessage($body, ['delivery_mode' => 2]), '', 'clients');
}
$channel->wait_for_pending_acks(5);
[, $ready] = $channel->queue_declare('clients', true);
echo "found $ready\n";

$yes = fn (bool $value): string => $value ? 'True' : 'False';
$message = $channel->basic_get('clients');
echo 'got ', $message->body, ' ', $yes($message->isRedelivered()), "\n";
$message->nack(true);
$message = $channel->basic_get('clients');
echo 'again ', $message->body, ' ', $yes($message->isRedelivered()), "\n";
$message->ack();

$channel->basic_qos(0, 1, false);
$last = null;
$tag = $channel->basic_consume('clients', '', false, false, false, false, function ($message) use (&$last) {
    echo 'consumed ', $message->body, "\n";
    $message->ack();
    $last = $message->body;
});
while ($last !== 'three') {
    $channel->wait(null, false, 5);
}
$channel->basic_cancel($tag);
[, $ready] = $channel->queue_declare('clients', true);
echo "left $ready\n";

try {
    $channel->queue_declare('no-such-queue', true);
} catch (AMQPProtocolChannelException $error) {
    echo 'wrong ', $error->getCode(), "\n";
}
$connection->close();

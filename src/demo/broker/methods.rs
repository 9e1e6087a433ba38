//! What each method of a channel does: it asks the state and answers.

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, exchange, queue};

use super::content::Incoming;
use super::refusal::Refusal;
use super::session::Session;
use super::state::{ExchangeKind, Published, QueueKind, Settlement};

impl Session {
    /// Does what a frame on an open channel asks for.
    pub(super) fn process(&mut self, channel: u16, frame: AMQPFrame) -> Result<(), Refusal> {
        if self.open_channel(channel).is_some_and(|open| open.incoming.is_some()) {
            return self.take_content(channel, frame);
        }
        match frame {
            AMQPFrame::Method(_, AMQPClass::Basic(method)) => self.basic(channel, method),
            AMQPFrame::Method(_, AMQPClass::Queue(method)) => self.queue(channel, method),
            AMQPFrame::Method(_, AMQPClass::Exchange(method)) => self.exchange(channel, method),
            AMQPFrame::Method(_, AMQPClass::Channel(method)) => self.channel(channel, method),
            AMQPFrame::Method(_, AMQPClass::Confirm(confirm::AMQPMethod::Select(select))) => {
                if let Some(open) = self.open_channel(channel) {
                    open.confirms.get_or_insert(0);
                }
                if !select.nowait {
                    let ok = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
                    self.send(&AMQPFrame::Method(channel, AMQPClass::Confirm(ok)));
                }
                Ok(())
            }
            AMQPFrame::Method(_, AMQPClass::Access(access::AMQPMethod::Request(_))) => {
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                self.send(&AMQPFrame::Method(channel, AMQPClass::Access(ok)));
                Ok(())
            }
            AMQPFrame::Method(_, AMQPClass::Tx(_)) => Err(Refusal::not_implemented("no transactions here")),
            AMQPFrame::Method(_, class) => Err(Refusal::command_invalid(format!("{class:?}"))),
            frame @ (AMQPFrame::ProtocolHeader(_)
            | AMQPFrame::Header(..)
            | AMQPFrame::Body(..)
            | AMQPFrame::Heartbeat
            | AMQPFrame::InvalidHeartbeat(_)) => Err(Refusal::unexpected_frame(frame)),
        }
    }

    /// Takes a frame of a message that is being published.
    fn take_content(&mut self, channel: u16, frame: AMQPFrame) -> Result<(), Refusal> {
        let message_bytes_max = self.shared.options.message_bytes_max;
        let Some(open) = self.open_channel(channel) else {
            return Ok(());
        };
        let Some(mut incoming) = open.incoming.take() else {
            return Ok(());
        };
        if !incoming.take(frame, message_bytes_max)? {
            open.incoming = Some(incoming);
            return Ok(());
        }
        let number = open.confirms.as_mut().map(|last| {
            *last += 1;
            *last
        });
        let (content, mandatory) = incoming.finish();
        // A copy for the way back is made only where somebody wants it.
        let returned = mandatory.then(|| (content.properties.clone(), content.body.clone()));
        let (exchange, routing_key) = (content.exchange.clone(), content.routing_key.clone());
        let published = self.shared.state().publish(content)?;
        if let (Published::Unroutable, Some((properties, body))) = (published, returned) {
            let back = basic::AMQPMethod::Return(basic::Return {
                reply_code: 312,
                reply_text: "NO_ROUTE".into(),
                exchange: exchange.as_str().into(),
                routing_key: routing_key.as_str().into(),
            });
            let content = super::state::Content { exchange, routing_key, properties, body };
            self.send_content(channel, back, &content);
        }
        if let Some(delivery_tag) = number {
            let confirm = match published {
                Published::Routed | Published::Unroutable => {
                    basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple: false })
                }
                Published::Full => {
                    basic::AMQPMethod::Nack(basic::Nack { delivery_tag, multiple: false, requeue: false })
                }
            };
            self.send_basic(channel, confirm);
        }
        Ok(())
    }

    fn basic(&mut self, channel: u16, method: basic::AMQPMethod) -> Result<(), Refusal> {
        use basic::AMQPMethod as Method;
        let key = self.key(channel);
        match method {
            Method::Publish(publish) => {
                if publish.immediate {
                    return Err(Refusal::not_implemented("immediate=true"));
                }
                if let Some(open) = self.open_channel(channel) {
                    open.incoming = Some(Incoming::new(publish));
                }
            }
            Method::Qos(qos) => {
                self.shared.state().qos(key, qos.prefetch_count, qos.global);
                self.send_basic(channel, Method::QosOk(basic::QosOk {}));
            }
            Method::Consume(consume) => {
                let tag = self.shared.state().consume(
                    key,
                    consume.queue.as_str(),
                    consume.consumer_tag.as_str(),
                    consume.no_ack,
                    consume.exclusive,
                )?;
                if !consume.nowait {
                    let ok = basic::ConsumeOk { consumer_tag: tag.into() };
                    self.send_basic(channel, Method::ConsumeOk(ok));
                }
            }
            Method::Cancel(cancel) => {
                self.shared.state().cancel(key, cancel.consumer_tag.as_str());
                // After cancel-ok nothing may come for this consumer.
                self.flush_deliveries();
                if !cancel.nowait {
                    let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
                    self.send_basic(channel, Method::CancelOk(ok));
                }
            }
            Method::Get(get) => {
                let got = self.shared.state().get(key, get.queue.as_str(), get.no_ack)?;
                match got {
                    Some((delivery, remaining)) => {
                        let ok = Method::GetOk(basic::GetOk {
                            delivery_tag: delivery.tag,
                            redelivered: delivery.redelivered,
                            exchange: delivery.content.exchange.as_str().into(),
                            routing_key: delivery.content.routing_key.as_str().into(),
                            message_count: saturating(remaining),
                        });
                        self.send_content(channel, ok, &delivery.content);
                    }
                    None => self.send_basic(channel, Method::GetEmpty(basic::GetEmpty {})),
                }
            }
            Method::Ack(ack) => {
                self.settle(channel, ack.delivery_tag, ack.multiple, Settlement::Acknowledged)?;
            }
            Method::Nack(nack) => {
                self.settle(channel, nack.delivery_tag, nack.multiple, returned(nack.requeue))?;
            }
            Method::Reject(reject) => {
                self.settle(channel, reject.delivery_tag, false, returned(reject.requeue))?;
            }
            Method::Recover(_) => {
                self.shared.state().recover(key);
                self.send_basic(channel, Method::RecoverOk(basic::RecoverOk {}));
            }
            Method::RecoverAsync(_) => self.shared.state().recover(key),
            // The answer to a notice that a consumer's queue is gone.
            Method::CancelOk(_) => {}
            Method::QosOk(_)
            | Method::ConsumeOk(_)
            | Method::Return(_)
            | Method::Deliver(_)
            | Method::GetOk(_)
            | Method::GetEmpty(_)
            | Method::RecoverOk(_) => {
                return Err(Refusal::command_invalid("a broker's method from a client"));
            }
        }
        Ok(())
    }

    fn settle(
        &mut self,
        channel: u16,
        tag: u64,
        multiple: bool,
        settlement: Settlement,
    ) -> Result<(), Refusal> {
        self.shared.state().settle(self.key(channel), tag, multiple, settlement)
    }

    fn queue(&mut self, channel: u16, method: queue::AMQPMethod) -> Result<(), Refusal> {
        use queue::AMQPMethod as Method;
        let key = self.key(channel);
        let (answer, nowait) = match method {
            Method::Declare(declare) => {
                let nowait = declare.nowait;
                (Method::DeclareOk(self.declare(channel, &declare)?), nowait)
            }
            Method::Delete(delete) => {
                let ready = self.shared.state().delete_queue(
                    key,
                    delete.queue.as_str(),
                    delete.if_unused,
                    delete.if_empty,
                )?;
                (Method::DeleteOk(queue::DeleteOk { message_count: saturating(ready) }), delete.nowait)
            }
            Method::Purge(purge) => {
                let ready = self.shared.state().purge_queue(key, purge.queue.as_str())?;
                (Method::PurgeOk(queue::PurgeOk { message_count: saturating(ready) }), purge.nowait)
            }
            Method::Bind(bind) => {
                self.shared.state().bind(
                    key,
                    bind.queue.as_str(),
                    bind.exchange.as_str(),
                    bind.routing_key.as_str(),
                )?;
                (Method::BindOk(queue::BindOk {}), bind.nowait)
            }
            Method::Unbind(unbind) => {
                self.shared.state().unbind(
                    key,
                    unbind.queue.as_str(),
                    unbind.exchange.as_str(),
                    unbind.routing_key.as_str(),
                );
                (Method::UnbindOk(queue::UnbindOk {}), false)
            }
            Method::DeclareOk(_)
            | Method::BindOk(_)
            | Method::PurgeOk(_)
            | Method::DeleteOk(_)
            | Method::UnbindOk(_) => {
                return Err(Refusal::command_invalid("a broker's method from a client"));
            }
        };
        if !nowait {
            self.send(&AMQPFrame::Method(channel, AMQPClass::Queue(answer)));
        }
        Ok(())
    }

    fn declare(&mut self, channel: u16, declare: &queue::Declare) -> Result<queue::DeclareOk, Refusal> {
        let name = declare.queue.as_str();
        let (refused, zeroed) = {
            let faults = self.shared.faults.borrow();
            (faults.refused.contains(name), faults.zeroed.contains(name) && declare.passive)
        };
        if refused {
            return Err(Refusal::no_permission(name, &self.shared.options.vhost, &self.user));
        }
        let kind = QueueKind {
            passive: declare.passive,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
        };
        let (name, ready, consumers) = self.shared.state().declare_queue(self.key(channel), name, kind)?;
        let (ready, consumers) = if zeroed { (0, 0) } else { (ready, consumers) };
        Ok(queue::DeclareOk {
            queue: name.into(),
            message_count: saturating(ready),
            consumer_count: saturating(consumers),
        })
    }

    fn exchange(&mut self, channel: u16, method: exchange::AMQPMethod) -> Result<(), Refusal> {
        use exchange::AMQPMethod as Method;
        let (answer, nowait) = match method {
            Method::Declare(declare) => {
                let kind = match declare.kind.as_str() {
                    "direct" => Some(ExchangeKind::Direct),
                    "fanout" => Some(ExchangeKind::Fanout),
                    _ => None,
                };
                self.shared.state().declare_exchange(declare.exchange.as_str(), kind, declare.passive)?;
                (Method::DeclareOk(exchange::DeclareOk {}), declare.nowait)
            }
            Method::Delete(delete) => {
                self.shared.state().delete_exchange(delete.exchange.as_str());
                (Method::DeleteOk(exchange::DeleteOk {}), delete.nowait)
            }
            Method::Bind(_) | Method::Unbind(_) => {
                return Err(Refusal::not_implemented("no bindings between exchanges here"));
            }
            Method::DeclareOk(_) | Method::DeleteOk(_) | Method::BindOk(_) | Method::UnbindOk(_) => {
                return Err(Refusal::command_invalid("a broker's method from a client"));
            }
        };
        if !nowait {
            self.send(&AMQPFrame::Method(channel, AMQPClass::Exchange(answer)));
        }
        Ok(())
    }

    fn channel(&mut self, channel: u16, method: channel::AMQPMethod) -> Result<(), Refusal> {
        use channel::AMQPMethod as Method;
        match method {
            Method::Close(_) => self.end_channel(channel),
            Method::Flow(flow) => {
                self.send_channel(channel, Method::FlowOk(channel::FlowOk { active: flow.active }));
            }
            Method::Open(_) => {
                return Err(Refusal::channel_error(format!("channel {channel} is open already")));
            }
            Method::CloseOk(_) | Method::FlowOk(_) | Method::OpenOk(_) => {
                return Err(Refusal::command_invalid("an answer to nothing"));
            }
        }
        Ok(())
    }
}

/// What becomes of a message that a consumer gives back.
fn returned(requeue: bool) -> Settlement {
    if requeue { Settlement::Requeued } else { Settlement::Discarded }
}

/// Counts have 32 bits on the wire.
fn saturating(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

//! Other autoscalers, re-implemented from their published rules. Each begins at the minimum, whatever the original does.

pub mod aws;
pub mod celery;
pub mod fixed;
pub mod horizon;
pub mod hpa;
pub mod keda;
pub mod knative;

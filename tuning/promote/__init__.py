"""From a sweep's best trial to a registered model: trained again, compared, exported, named."""

-- What did each epoch of each input partition take in?
FROM {ledger}

-- What is Korea's index of each station and hour, and what explains it? The newest revisions.
-- A row without any index was withdrawn: late values that fail left its hour without a mean.
FROM {cai}
WHERE coalesce(index_pm10, index_pm25, index_o3, index_no2, index_co, index_so2) IS NOT NULL

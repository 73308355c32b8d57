-- Which signal lights does the city file name, and which stations may each follow?
FROM {lights}
